// What the thread's branch changes: files with their numbers, and each file's difference in colours.
import { useEffect, useMemo, useState } from "preact/hooks";
import { get, pathOf, Problem, wordsOf } from "../api.ts";
import { colourLines, languageOf, type Piece } from "../colour.ts";
import { rowsOf, type Row } from "../diff.ts";
import { count } from "../format.ts";
import type { ChangedFile, Changes as Found } from "../shapes.ts";
import { threadId, view } from "../store.ts";
import { Icon } from "./Icons.tsx";

const TRIES = 6;

export function Changes() {
  const [found, setFound] = useState<Found | null>(null);
  const [problem, setProblem] = useState("");
  const thread = threadId.value;
  const commits = view.value.messages.map((m) => `${m.commit?.sha}${m.push?.sha}${m.stage}`).join();
  useEffect(() => {
    if (thread === null) return undefined;
    let isLate = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const newest = [...view.value.messages].reverse().find((m) => m.commit);
    const shas = [newest?.push?.sha, newest?.commit?.sha].filter(Boolean);
    const read = (tries: number): void => {
      get<Found>(pathOf(thread, "/changes")).then(
        (changes) => {
          if (isLate) return;
          setFound(changes);
          setProblem("");
          // The worker writes them down beside the answer, so they may be a moment behind it.
          const isBehind = shas.length > 0 && !shas.includes(changes.head?.sha);
          if (isBehind && tries < TRIES) timer = setTimeout(() => read(tries + 1), 300 * 2 ** tries);
        },
        (error: unknown) => {
          if (!isLate) setProblem(error instanceof Problem && error.isGone ? "This thread is not there." : wordsOf(error));
        },
      );
    };
    read(0);
    return () => {
      isLate = true;
      clearTimeout(timer);
    };
  }, [thread, commits]);
  if (problem && !found) {
    return (
      <div class="blank" role="alert">
        <h2>The changes cannot be read</h2>
        <p>{problem}</p>
      </div>
    );
  }
  if (found === null && thread !== null) return <div class="blank quiet">Reading…</div>;
  if (found === null || found.files.length === 0) {
    return (
      <div class="blank">
        <h2>No changes yet</h2>
        <p>What this thread changes stands here after its first commit.</p>
      </div>
    );
  }
  return <Files found={found} />;
}

function Files({ found }: { found: Found }) {
  const sum = (part: "insertions" | "deletions") => found.files.reduce((all, file) => all + file[part], 0);
  const total = found.total ?? { files: found.files.length, insertions: sum("insertions"), deletions: sum("deletions") };
  const unlisted = total.files - found.files.length;
  const isFew = found.files.length <= 5;
  return (
    <div class="changes" data-testid="changes">
      <h2 class="unseen">Changed files</h2>
      <p class="changes-sum">
        <strong>{count(total.files, "file")}</strong> <span class="plus">+{total.insertions}</span>{" "}
        <span class="minus">−{total.deletions}</span>
        {found.base && (
          <span class="quiet">
            {" "}
            against <code>{found.base.branch}</code> at <code>{found.base.sha.slice(0, 8)}</code>
          </span>
        )}
      </p>
      {found.cut && (
        <p class="hint-bar">
          There is more than is shown here: the largest differences are named without their lines
          {unlisted > 0 && `, and ${count(unlisted, "file")} beyond the first ${found.files.length} are only counted`}.
        </p>
      )}
      {found.files.map((file, number) => (
        <File key={file.path} id={`file-${number}`} file={file} open={isFew && file.insertions + file.deletions < 400} />
      ))}
    </div>
  );
}

function File({ id, file, open }: { id: string; file: ChangedFile; open: boolean }) {
  const [isOpen, setOpen] = useState(open);
  return (
    <section class="file">
      <h3>
        <button type="button" class="file-head" aria-expanded={isOpen} aria-controls={id} onClick={() => setOpen(!isOpen)}>
          <Icon name={isOpen ? "down" : "right"} size={13} />
          <span class="file-path">
            {file.old_path && file.old_path !== file.path && <span class="quiet">{file.old_path} → </span>}
            {file.path}
          </span>
          <span class="file-status">{file.status}</span>
          {file.binary ? (
            <span class="quiet">binary</span>
          ) : (
            <span>
              <span class="plus">+{file.insertions}</span> <span class="minus">−{file.deletions}</span>
            </span>
          )}
        </button>
      </h3>
      {isOpen && (
        <div id={id} class="file-body">
          {file.note && <p class="hint">{file.note}</p>}
          {file.patch ? <Patch file={file} patch={file.patch} /> : !file.note && <p class="hint">{noLines(file)}</p>}
        </div>
      )}
    </section>
  );
}

const noLines = (file: ChangedFile): string =>
  file.binary ? "A binary file: it has no lines to show." : file.insertions + file.deletions > 0 ? "Too long to be shown here." : "Only its name or its mode changed.";

const FIRST_ROWS = 500;
const SIGNS: Record<Row["kind"], string> = { add: "+", del: "−", same: " ", hunk: "", note: "" };

function Patch({ file, patch }: { file: ChangedFile; patch: string }) {
  const rows = useMemo(() => rowsOf(patch), [patch]);
  const [isWhole, setWhole] = useState(false);
  const colours = useColours(rows, file.path);
  const shown = isWhole ? rows : rows.slice(0, FIRST_ROWS);
  return (
    <>
      <div class="diff-box" tabIndex={0} role="group" aria-label={`Changes of ${file.path}`}>
        <table class="diff">
          <tbody>
            {shown.map((row, i) =>
              row.kind === "hunk" || row.kind === "note" ? (
                <tr key={i} class={row.kind}>
                  <td colSpan={4}>{row.text}</td>
                </tr>
              ) : (
                <tr key={i} class={row.kind}>
                  <td class="number" data-line={row.old ?? ""} />
                  <td class="number" data-line={row.new ?? ""} />
                  <td class="sign">{SIGNS[row.kind]}</td>
                  <td class="code">{colours.get(i)?.map((piece, j) => <span key={j} class={piece.className}>{piece.text}</span>) ?? row.text}</td>
                </tr>
              ),
            )}
          </tbody>
        </table>
      </div>
      {shown.length < rows.length && (
        <button type="button" class="plain wide" onClick={() => setWhole(true)}>
          Show all {rows.length.toLocaleString("en")} lines
        </button>
      )}
    </>
  );
}

/** Colours for each row: the new side and the old side are coloured as wholes, so that strings may span lines. */
function useColours(rows: Row[], path: string): Map<number, Piece[]> {
  const [colours, setColours] = useState<Map<number, Piece[]>>(new Map());
  useEffect(() => {
    const language = languageOf(path);
    if (!language) return undefined;
    let isLate = false;
    const side = async (kinds: Row["kind"][]): Promise<[number, Piece[]][]> => {
      const its = rows.flatMap((row, i) => (kinds.includes(row.kind) ? [i] : []));
      const lines = await colourLines(its.map((i) => rows[i]?.text ?? "").join("\n"), language);
      return lines ? its.map((i, n) => [i, lines[n] ?? []]) : [];
    };
    Promise.all([side(["same", "del"]), side(["same", "add"])]).then(
      ([before, after]) => !isLate && setColours(new Map([...before, ...after])),
      () => undefined,
    );
    return () => {
      isLate = true;
    };
  }, [rows, path]);
  return colours;
}
