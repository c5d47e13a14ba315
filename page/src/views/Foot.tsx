// Below the threads: which model answers, who one is, the theme, help.
import { about, chooseTheme, me, signOut, theme, type Theme } from "../store.ts";
import { dialog } from "../panes.ts";
import { Account, AccountButton } from "./Account.tsx";
import { Icon, type IconName } from "./Icons.tsx";

export function Foot() {
  return (
    <footer class="side-foot">
      {about.value.offline_model && (
        <p class="offline" data-testid="offline-model">
          <strong>Offline model.</strong> A small script answers and can edit the example site. For real answers set{" "}
          <code>ANTHROPIC_API_KEY</code> and start again.
        </p>
      )}
      <Who />
      <Account />
      <div class="foot-row">
        <ThemeSwitch />
        <button type="button" class="plain" onClick={() => (dialog.value = "help")} title="Keys and help (?)">
          <Icon name="help" /> Help
        </button>
      </div>
    </footer>
  );
}

function Who() {
  if (me.value === null) return null;
  if (me.value.kind === "local") return <p class="who">No sign-in: only this machine can reach this page.</p>;
  return (
    <p class="who">
      Signed in as <strong>{me.value.user}</strong>
      <AccountButton />
      <button type="button" class="link" onClick={() => void signOut()}>
        Sign out
      </button>
    </p>
  );
}

const THEMES: [Theme, string, IconName][] = [
  ["auto", "As the system", "half"],
  ["light", "Light", "sun"],
  ["dark", "Dark", "moon"],
];

function ThemeSwitch() {
  return (
    <fieldset class="themes">
      <legend class="unseen">Theme</legend>
      {THEMES.map(([name, word, icon]) => (
        <label key={name} title={word}>
          <input type="radio" name="theme" checked={theme.value === name} onChange={() => chooseTheme(name)} />
          <Icon name={icon} />
          <span class="unseen">{word}</span>
        </label>
      ))}
    </fieldset>
  );
}
