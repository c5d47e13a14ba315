// One's own sign-in: another password, one-time codes on or off. Behind one button, in a dialog of the browser's.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { account, beginCodes, changePassword, codesOff, confirmCodes, isOpen, keyOf, type OwnProof, readAccount } from "../account.ts";
import { wordsOf } from "../api.ts";
import { about, announce, me } from "../store.ts";
import { Copy } from "./Copy.tsx";

/** For whoever signed in with the page, where there are passwords. */
export function AccountButton() {
  if (me.value?.kind !== "session" || !about.value.login.password) return null;
  return (
    <button type="button" class="link" onClick={() => (isOpen.value = true)}>
      Your sign-in
    </button>
  );
}

export function Account() {
  const element = useRef<HTMLDialogElement>(null);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    if (isOpen.value && !element.current?.open) {
      element.current?.showModal();
      setProblem("");
      readAccount().catch((error: unknown) => setProblem(wordsOf(error)));
    }
    if (!isOpen.value && element.current?.open) element.current.close();
  }, [isOpen.value]);
  return (
    <dialog ref={element} class="sign-in" aria-labelledby="account-title" onClose={() => (isOpen.value = false)}>
      {isOpen.value && (
        <div class="dialog-inner">
          <h2 id="account-title">Your sign-in</h2>
          <Told problem={problem} />
          {account.value === null ? !problem && <p class="quiet">Reading…</p> : <Parts />}
          <form method="dialog" class="dialog-row">
            <button>Close</button>
          </form>
        </div>
      )}
    </dialog>
  );
}

function Parts() {
  if (!account.value?.password) return <p>You sign in with GitHub: there is no password here to change.</p>;
  return (
    <>
      <Password />
      <h3>One-time codes</h3>
      {account.value.totp ? <CodesOff /> : <CodesOn />}
      <p class="quiet small-print">Whatever you change here signs you out everywhere else.</p>
    </>
  );
}

const Told = ({ problem }: { problem: string }) =>
  problem ? (
    <p class="told bad" role="alert">
      {problem}
    </p>
  ) : null;

type Word = (name: string) => string;

interface Asked {
  word: string;
  /** What is said when it is done, for a form that stays. */
  done?: string;
  act: (word: Word) => Promise<void>;
  children: ComponentChildren;
}

/** A form that says what went wrong, and is empty again when nothing did. */
function Form({ word, done = "", act, children }: Asked) {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const [isDone, setDone] = useState(false);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const given = new FormData(form);
    setBusy(true);
    setProblem("");
    setDone(false);
    act((name) => String(given.get(name) ?? ""))
      .then(() => {
        form.reset();
        setDone(true);
      })
      .catch((error: unknown) => setProblem(wordsOf(error)))
      .finally(() => setBusy(false));
  };
  return (
    <form class="stack" onSubmit={submit}>
      <Told problem={problem} />
      {children}
      {isDone && done && <p class="quiet">{done}</p>}
      <button disabled={isBusy}>{isBusy ? "One moment…" : word}</button>
    </form>
  );
}

/** The present password, and a code where one is asked for. */
function Proof() {
  return (
    <>
      <label>
        Present password
        <input name="password" type="password" autocomplete="current-password" required />
      </label>
      {account.value?.totp && <Code />}
    </>
  );
}

const Code = () => (
  <label>
    Code of your app
    <input name="code" inputMode="numeric" autocomplete="one-time-code" required />
  </label>
);

function proofOf(word: Word): OwnProof {
  const code = word("code").replace(/\s/g, "");
  return code ? { password: word("password"), code } : { password: word("password") };
}

function Password() {
  const act = async (word: Word) => {
    await changePassword(proofOf(word), word("new"));
    announce("Your password is changed.");
  };
  return (
    <Form word="Change the password" done="Your password is changed." act={act}>
      <input name="user" autocomplete="username" value={me.value?.user} readOnly hidden />
      <Proof />
      <label>
        New password (10 characters or more)
        <input name="new" type="password" autocomplete="new-password" minLength={10} maxLength={256} required />
      </label>
    </Form>
  );
}

function CodesOn() {
  const [uri, setUri] = useState("");
  const confirm = async (word: Word) => {
    await confirmCodes(word("code").replace(/\s/g, ""));
    announce("One-time codes are on.");
  };
  if (!uri) {
    return (
      <Form word="Turn codes on" act={async (word) => setUri(await beginCodes(proofOf(word)))}>
        <Proof />
      </Form>
    );
  }
  return (
    <Form word="Confirm" act={confirm}>
      <p>
        <a href={uri}>Open your authenticator</a>, or type this key into it, then the code that it shows:
      </p>
      <p>
        <code>{keyOf(uri)}</code> <Copy text={keyOf(uri)} what="key" />
      </p>
      <Code />
    </Form>
  );
}

function CodesOff() {
  const act = async (word: Word) => {
    await codesOff(proofOf(word));
    announce("One-time codes are off.");
  };
  return (
    <Form word="Turn codes off" act={act}>
      <Proof />
    </Form>
  );
}
