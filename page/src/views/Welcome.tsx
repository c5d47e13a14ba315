// What one sees before there is a thread: what this is, and three ways to begin.
import { draftKey, keep } from "../outbox.ts";
import { focusOn } from "../panes.ts";
import { about, projects } from "../store.ts";
import { Icon, Logo } from "./Icons.tsx";

const IDEAS: [string, string][] = [
  ["Change the headline to Hello from the rails", "Edits a file and pushes it on a branch"],
  ["Add a page about our opening hours", "Adds a page and links it"],
  ["What can you do?", "Answers, changes nothing"],
];

export function Welcome() {
  const use = (text: string) => {
    keep(draftKey.value, { text });
    focusOn("#message");
  };
  return (
    <div class="log welcome">
      <div class="welcome-inner">
        <Logo />
        <h2>What should be done?</h2>
        <p class="lead">
          Each thread is a conversation with Claude Code and a branch of its own
          {projects.value.length === 1 ? (
            <>
              {" "}
              in <strong>{projects.value[0]}</strong>
            </>
          ) : null}
          . Write a message: you see what is done while it is done, the site beside it, and a commit at the end.
        </p>
        <ul class="ideas">
          {IDEAS.map(([text, what]) => (
            <li key={text}>
              <button type="button" onClick={() => use(text)}>
                <span>{text}</span>
                <small>{what}</small>
                <Icon name="right" />
              </button>
            </li>
          ))}
        </ul>
        {about.value.offline_model && (
          <p class="quiet small-print">The offline model answers: a script that knows the example site. It costs nothing and needs no account.</p>
        )}
      </div>
    </div>
  );
}
