// One message and all that became of it: the receipt, the answer as it grows, tools, tasks, pauses, the proof.
import type { Task, Upload } from "../events.ts";
import { type Block, isOver, isTold, type MessageView } from "../fold.ts";
import { ago, bytes, initials, moment } from "../format.ts";
import { nameOf, now } from "../store.ts";
import { frontendOf, receiptOf } from "../words.ts";
import { Icon } from "./Icons.tsx";
import { Markdown } from "./Markdown.tsx";
import { Proof } from "./Proof.tsx";
import { Tool } from "./Tool.tsx";

export function Turn({ message }: { message: MessageView }) {
  return (
    <article class="turn" data-stage={message.stage} data-testid="message" aria-label={`Message of ${nameOf(message.author)}`}>
      <Said message={message} />
      <Answer message={message} />
    </article>
  );
}

function Said({ message }: { message: MessageView }) {
  const receipt = receiptOf(message);
  const from = frontendOf(message.frontend);
  return (
    <div class="said">
      <header class="said-head">
        <span class="avatar" aria-hidden="true">
          {initials(nameOf(message.author))}
        </span>
        <strong dir="auto">{nameOf(message.author)}</strong>
        <span class="from">
          <Icon name={from.icon} size={13} /> {from.word}
        </span>
        <time dateTime={message.received} title={moment(message.received)}>
          {ago(message.received, now.value)}
        </time>
      </header>
      {message.action === "update" ? (
        <p class="said-text">
          <Icon name="branch" /> Bring the branch up to date
        </p>
      ) : (
        <p class="said-text" dir="auto">
          {message.text}
        </p>
      )}
      {message.uploads.length > 0 && <Files files={message.uploads} />}
      <p class={`receipt ${receipt.tone}`} data-testid="receipt">
        <Icon name={receipt.icon} size={13} spinning={receipt.icon === "spin"} /> {receipt.word}
        {message.mode !== "queue" && <span class="mode">{message.mode === "steer" ? "sent to steer" : "sent to interrupt"}</span>}
      </p>
    </div>
  );
}

function Files({ files }: { files: Upload[] }) {
  return (
    <ul class="files" aria-label="Attached files">
      {files.map((file) => {
        const address = `/v1/uploads/${encodeURIComponent(file.upload_id)}`;
        return (
          <li key={file.upload_id}>
            <a href={address} target="_blank" rel="noopener">
              {file.type.startsWith("image/") ? <img src={address} alt={file.name} loading="lazy" /> : <Icon name="file" />}
              <span>{file.name}</span>
              <small>{bytes(file.size)}</small>
            </a>
          </li>
        );
      })}
    </ul>
  );
}

function Answer({ message }: { message: MessageView }) {
  const { blocks, outcome } = message;
  const untold = outcome && !message.togetherWith && !isTold(message) ? outcome.text : "";
  const isThinking = message.stage === "running" && !message.togetherWith && !isBusyBlock(blocks.at(-1));
  if (blocks.length === 0 && !outcome && !isThinking) return null;
  return (
    <div class="answer">
      {groupsOf(blocks).map((group) =>
        group[0]?.kind === "tool" ? (
          <div class="tools" key={group[0].key}>
            {group.map((block) => block.kind === "tool" && <Tool key={block.key} tool={block.tool} unfinished={block.unfinished} />)}
          </div>
        ) : (
          group.map((block) => <Piece key={block.key} block={block} live={!isOver(message) && block === blocks.at(-1)} />)
        ),
      )}
      {isThinking && (
        <p class="thinking">
          <span />
          <span />
          <span />
          <span class="unseen">Working</span>
        </p>
      )}
      {untold && <Untold text={untold} stage={message.stage} />}
      {outcome && <Proof message={message} outcome={outcome} />}
    </div>
  );
}

const isBusyBlock = (block: Block | undefined): boolean =>
  block?.kind === "text" || (block?.kind === "tool" && block.tool.state === "started");

/** Uses of tools that follow each other stand together. */
function groupsOf(blocks: Block[]): Block[][] {
  const groups: Block[][] = [];
  for (const block of blocks) {
    const last = groups.at(-1);
    if (block.kind === "tool" && last?.[0]?.kind === "tool") last.push(block);
    else groups.push([block]);
  }
  return groups;
}

function Untold({ text, stage }: { text: string; stage: MessageView["stage"] }) {
  return stage === "completed" ? <Markdown text={text} live={false} /> : <p class={`verdict ${stage}`} dir="auto">{text}</p>;
}

function Piece({ block, live }: { block: Block; live: boolean }) {
  switch (block.kind) {
    case "text":
      return <Markdown text={block.text} live={live} />;
    case "tasks":
      return <Tasks tasks={block.tasks} />;
    case "note":
      return (
        <p class={`note ${block.tone}`} data-testid={block.tone}>
          <Icon name={block.tone === "pause" ? "pause" : "play"} size={13} />
          <span>
            {block.text}
            {block.until && <> Goes on at {moment(block.until)}.</>}
          </span>
        </p>
      );
    default:
      return null;
  }
}

export function Tasks({ tasks }: { tasks: Task[] }) {
  const done = tasks.filter((task) => task.status === "completed").length;
  return (
    <div class="tasks" role="group" aria-label={`Tasks, ${done} of ${tasks.length} done`}>
      <p class="tasks-head">
        Tasks{" "}
        <span>
          {done} of {tasks.length}
        </span>
      </p>
      <progress max={Math.max(1, tasks.length)} value={done} />
      <ul>
        {tasks.map((task) => (
          <li key={task.id} class={task.status}>
            <Icon
              name={task.status === "completed" ? "check" : task.status === "in_progress" ? "spin" : "ring"}
              size={14}
              spinning={task.status === "in_progress"}
            />
            <span dir="auto">{task.subject}</span>
            <span class="unseen">{task.status.replace("_", " ")}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
