// A unified patch as rows with line numbers. Pure; a line that is no part of a hunk is passed over.

export interface Row {
  kind: "hunk" | "add" | "del" | "same" | "note";
  old: number | null;
  new: number | null;
  text: string;
}

const HUNK = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)$/;

export function rowsOf(patch: string): Row[] {
  const rows: Row[] = [];
  let before = 0;
  let after = 0;
  let inside = false;
  for (const line of patch.replace(/\n$/, "").split("\n")) {
    const hunk = HUNK.exec(line);
    if (hunk) {
      before = Number(hunk[1]);
      after = Number(hunk[2]);
      inside = true;
      rows.push({ kind: "hunk", old: null, new: null, text: line });
    } else if (!inside || line.startsWith("diff --git ")) {
      inside = false;
    } else if (line.startsWith("+")) {
      rows.push({ kind: "add", old: null, new: after++, text: line.slice(1) });
    } else if (line.startsWith("-")) {
      rows.push({ kind: "del", old: before++, new: null, text: line.slice(1) });
    } else if (line.startsWith("\\")) {
      rows.push({ kind: "note", old: null, new: null, text: "No line end at the end of the file" });
    } else {
      rows.push({ kind: "same", old: before++, new: after++, text: line.slice(1) });
    }
  }
  return rows;
}
