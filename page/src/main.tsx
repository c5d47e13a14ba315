// Puts the page into the document.
import "@preact/signals";
import { render } from "preact";
import { flush } from "./outbox.ts";
import { begin } from "./store.ts";
import "./styles/base.css";
import "./styles/frame.css";
import "./styles/threads.css";
import "./styles/chat.css";
import "./styles/composer.css";
import "./styles/work.css";
import "./styles/dialogs.css";
import "./styles/low.css";
import { App } from "./views/App.tsx";

const root = document.getElementById("page");
if (root) {
  render(<App />, root);
  void begin().then(flush);
}
