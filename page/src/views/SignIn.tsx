// The sign-in, over the page, so that a draft stays where it is.
import { useEffect, useRef, useState } from "preact/hooks";
import { Problem, wordsOf } from "../api.ts";
import { about, signedOut, signIn } from "../store.ts";
import { whyNotSignedIn } from "../words.ts";
import { Icon, Logo } from "./Icons.tsx";

export function SignIn() {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (signedOut.value && !element.current?.open) element.current?.showModal();
    if (!signedOut.value && element.current?.open) element.current.close();
  }, [signedOut.value]);
  return (
    <dialog class="sign-in" ref={element} aria-labelledby="sign-in-title" onCancel={(event) => event.preventDefault()}>
      {signedOut.value && <Form />}
    </dialog>
  );
}

function Form() {
  const { password: byPassword, github } = about.value.login;
  const [asksCode, setAsksCode] = useState(false);
  const [problem, setProblem] = useState(() => whyNotSignedIn(location.search));
  useEffect(() => {
    // Said once: a reload is not another attempt.
    if (location.search) history.replaceState(null, "", `${location.pathname}${location.hash}`);
  }, []);
  const [isBusy, setBusy] = useState(false);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const word = (name: string) => String(given.get(name) ?? "");
    setBusy(true);
    setProblem("");
    signIn(word("user"), word("password"), word("code").replace(/\s/g, ""))
      .catch((error: unknown) => {
        if (error instanceof Problem && error.code === "code_needed") {
          if (asksCode) setProblem(error.message);
          setAsksCode(true);
          requestAnimationFrame(() => document.getElementById("sign-in-code")?.focus());
        } else setProblem(later(error));
      })
      .finally(() => setBusy(false));
  };
  return (
    <div class="dialog-inner">
      <div class="sign-in-head">
        <Logo />
        <h2 id="sign-in-title">Sign in to Branchline</h2>
      </div>
      {problem && (
        <p class="told bad" role="alert">
          {problem}
        </p>
      )}
      {(byPassword || !github) && (
        <form onSubmit={submit} class="stack">
          <label>
            User
            <input name="user" autocomplete="username" required autofocus autocapitalize="none" spellcheck={false} />
          </label>
          <label>
            Password
            <input name="password" type="password" autocomplete="current-password" required />
          </label>
          {asksCode && (
            <label>
              Code of your app
              <input id="sign-in-code" name="code" inputMode="numeric" autocomplete="one-time-code" required />
            </label>
          )}
          <button class="primary" disabled={isBusy}>
            {isBusy ? "Signing in…" : "Sign in"}
          </button>
        </form>
      )}
      {byPassword && github && <p class="or">or</p>}
      {github && (
        <a class="button wide" href={`/auth/github?onward=${encodeURIComponent(`/${location.hash}`)}`}>
          <Icon name="github" /> Sign in with GitHub
        </a>
      )}
      <p class="quiet small-print">What you were writing is kept.</p>
    </div>
  );
}

function later(error: unknown): string {
  if (error instanceof Problem && error.status === 429 && error.retryAfter) {
    return `Too many attempts. Try again in ${error.retryAfter} seconds.`;
  }
  return error instanceof Problem && error.status === 0 ? "The server cannot be reached. Try again." : wordsOf(error);
}
