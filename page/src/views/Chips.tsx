// The files of a message that is being written: those that are there, on their way, or refused.
import { bytes } from "../format.ts";
import { draft, keep } from "../outbox.ts";
import { dismiss, sending, type Sending } from "../uploads.ts";
import { Icon } from "./Icons.tsx";

export function Chips({ draftKey: key }: { draftKey: string }) {
  const under = sending.value.filter((s) => s.key === key);
  const there = draft.value.uploads;
  if (under.length + there.length === 0) return null;
  const drop = (id: string) => keep(key, { uploads: there.filter((u) => u.upload_id !== id) });
  return (
    <ul class="chips" aria-label="Files of this message" data-testid="chips">
      {there.map((upload) => (
        <li class="chip" key={upload.upload_id}>
          {upload.type.startsWith("image/") ? (
            <img src={`/v1/uploads/${encodeURIComponent(upload.upload_id)}`} alt="" />
          ) : (
            <Icon name="file" />
          )}
          <span class="chip-name">{upload.name}</span>
          <small>{bytes(upload.size)}</small>
          <Remove name={upload.name} act={() => drop(upload.upload_id)} />
        </li>
      ))}
      {under.map((one) => (
        <Under key={one.id} one={one} />
      ))}
    </ul>
  );
}

function Under({ one }: { one: Sending }) {
  return (
    <li class={one.problem ? "chip bad" : "chip"}>
      <Icon name={one.problem ? "warn" : "spin"} spinning={!one.problem} />
      <span class="chip-name">{one.name}</span>
      {one.problem ? (
        <small role="alert">{one.problem}</small>
      ) : (
        <progress max={1} value={one.done} aria-label={`Sending ${one.name}`} />
      )}
      <Remove name={one.name} act={() => dismiss(one.id)} />
    </li>
  );
}

const Remove = ({ name, act }: { name: string; act: () => void }) => (
  <button type="button" class="plain" aria-label={`Remove ${name}`} onClick={act}>
    <Icon name="close" size={13} />
  </button>
);
