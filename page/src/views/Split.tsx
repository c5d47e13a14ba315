// The line between conversation and work: dragged, or moved with the arrow keys; where it stands is remembered.
import { useEffect, useState } from "preact/hooks";
import { split, splitAt } from "../panes.ts";
import { afterKey, boundsOf, fitting, USUAL } from "../split.ts";

export function Split() {
  const width = useWidth();
  const [isHeld, setHeld] = useState(false);
  const share = fitting(split.value, width);
  const { least, most } = boundsOf(width);
  const onKeyDown = (event: KeyboardEvent) => {
    const next = afterKey(event.key, share, width);
    if (next === null) return;
    event.preventDefault();
    splitAt(next);
  };
  const follow = (event: PointerEvent) => {
    if (isHeld) splitAt(fitting(((width - event.clientX) / width) * 100, width));
  };
  return (
    <div
      class={isHeld ? "split held" : "split"}
      role="separator"
      tabIndex={0}
      aria-orientation="vertical"
      aria-label="Width of the work"
      aria-valuenow={Math.round(share)}
      aria-valuemin={least}
      aria-valuemax={most}
      aria-valuetext={`${Math.round(share)} percent of the window`}
      title="Drag, or use the arrow keys; a double click puts it back"
      onKeyDown={onKeyDown}
      onDblClick={() => splitAt(USUAL)}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        setHeld(true);
      }}
      onPointerMove={follow}
      onLostPointerCapture={() => setHeld(false)}
    />
  );
}

function useWidth(): number {
  const [width, setWidth] = useState(window.innerWidth);
  useEffect(() => {
    const take = () => setWidth(window.innerWidth);
    addEventListener("resize", take);
    return () => removeEventListener("resize", take);
  }, []);
  return width;
}
