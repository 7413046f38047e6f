// A virtual list of rows of any height: only what is near the view is in the document. The row at the top of the view stays where it is
// whatever is measured, prepended or changed above it; at the end the view sticks to the end.

import { useCallback, useLayoutEffect, useRef, useState, type RefObject } from 'react';

const estimate = 46;
const beyond = 700; // pixels above and below the view that are rendered
const sticky = 48; // so near to the end counts as at the end

export interface Virtual {
  scroller: RefObject<HTMLDivElement | null>;
  list: RefObject<HTMLOListElement | null>;
  start: number;
  end: number;
  before: number;
  after: number;
  atEnd: boolean;
  toEnd(smooth?: boolean): void;
  toRow(index: number): void;
  isAtEnd(): boolean;
}

interface Options { keys: (index: number) => string; count: number; onScroll?: (top: number, bottom: number) => void }

export function useVirtual({ keys, count, onScroll }: Options): Virtual {
  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const heights = useRef(new Map<string, number>());
  const offsets = useRef(new Float64Array(1));
  const anchor = useRef<{ key: string; index: number; delta: number } | null>(null);
  const stick = useRef(true);
  const own = useRef(-1); // the position that was set by us: its scroll event says nothing about the user
  const [range, setRange] = useState({ start: 0, end: 30 });
  const [atEnd, setAtEnd] = useState(true);
  const [, remeasure] = useState(0);
  const latest = useRef({ keys, count, onScroll });
  latest.current = { keys, count, onScroll };

  // Offsets of all rows, from what was measured and a guess for the rest.
  const layout = () => {
    const sums = new Float64Array(count + 1);
    const known = heights.current;
    for (let i = 0; i < count; i += 1) sums[i + 1] = sums[i]! + (known.get(keys(i)) ?? estimate);
    offsets.current = sums;
    return sums;
  };
  const stamp = useRef<{ keys: unknown; count: number }>({ keys: undefined, count: -1 });
  if (stamp.current.keys !== keys || stamp.current.count !== count) {
    stamp.current = { keys, count };
    layout();
  }

  const indexAt = (y: number): number => {
    const sums = offsets.current;
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle + 1]! <= y) low = middle + 1; else high = middle;
    }
    return low;
  };

  const rangeFor = (top: number, height: number) => ({
    start: Math.max(0, indexAt(Math.max(0, top - beyond)) - 1),
    end: Math.min(latest.current.count, indexAt(top + height + beyond) + 2),
  });

  const keepAnchor = (top: number) => {
    const pad = list.current?.offsetTop ?? 0;
    const index = Math.min(indexAt(top - pad), latest.current.count - 1);
    anchor.current = index < 0 ? null : { key: latest.current.keys(index), index, delta: offsets.current[index]! + pad - top };
  };

  const update = useCallback(() => {
    const box = scroller.current;
    if (!box) return;
    const pad = list.current?.offsetTop ?? 0;
    const next = rangeFor(box.scrollTop - pad, box.clientHeight);
    setRange((old) => (old.start === next.start && old.end === next.end ? old : next));
  }, []);

  // After each commit: measure, then put the view where it belongs.
  useLayoutEffect(() => {
    const box = scroller.current;
    const rows = list.current;
    if (!box || !rows) return;
    let changed = false;
    for (const row of rows.children) {
      const key = (row as HTMLElement).dataset.key;
      if (key === undefined) continue;
      const { height } = row.getBoundingClientRect();
      if (height > 0 && heights.current.get(key) !== height) {
        heights.current.set(key, height);
        changed = true;
      }
    }
    if (changed) layout();
    const pad = rows.offsetTop;
    const set = (top: number) => {
      if (Math.abs(box.scrollTop - top) > 0.5) {
        box.scrollTop = top;
        own.current = box.scrollTop;
      }
    };
    if (stick.current) {
      if (changed) remeasure((n) => n + 1);
      set(box.scrollHeight);
    } else if (anchor.current) {
      let { index } = anchor.current;
      const { key, delta } = anchor.current;
      if (index >= count || keys(index) !== key) {
        index = -1;
        for (let i = 0; i < count; i += 1) if (keys(i) === key) { index = i; break; }
      }
      if (index >= 0) {
        anchor.current.index = index;
        if (changed) remeasure((n) => n + 1);
        // Paddings in the document may still be those of before the measuring: the row itself tells where it is.
        const row = [...rows.children].find((r) => (r as HTMLElement).dataset.key === key) as HTMLElement | undefined;
        set((row ? row.offsetTop : offsets.current[index]! + pad) - delta);
      }
    }
    update();
  });

  useLayoutEffect(() => {
    const box = scroller.current;
    if (!box) return undefined;
    let width = box.clientWidth;
    const resized = new ResizeObserver(() => {
      if (box.clientWidth !== width) {
        width = box.clientWidth;
        heights.current.clear();
      }
      remeasure((n) => n + 1);
    });
    resized.observe(box);
    if (list.current) resized.observe(list.current);
    const scrolled = () => {
      const end = box.scrollHeight - box.scrollTop - box.clientHeight;
      const mine = Math.abs(own.current - box.scrollTop) < 1;
      own.current = -1;
      if (!mine) {
        stick.current = end <= sticky;
        keepAnchor(box.scrollTop);
      }
      setAtEnd(end <= sticky);
      update();
      latest.current.onScroll?.(box.scrollTop, end);
    };
    box.addEventListener('scroll', scrolled, { passive: true });
    return () => {
      resized.disconnect();
      box.removeEventListener('scroll', scrolled);
    };
  }, [update]);

  const toEnd = useCallback((smooth = false) => {
    stick.current = true;
    const box = scroller.current;
    const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
    box?.scrollTo({ top: box.scrollHeight, behavior: smooth && !still ? 'smooth' : 'instant' });
    remeasure((n) => n + 1);
  }, []);

  const toRow = useCallback((index: number) => {
    const box = scroller.current;
    if (!box || index < 0) return;
    stick.current = false;
    const middle = box.clientHeight / 3;
    anchor.current = { key: latest.current.keys(index), index, delta: middle };
    box.scrollTop = offsets.current[index]! - middle + (list.current?.offsetTop ?? 0);
    own.current = box.scrollTop;
    update();
    remeasure((n) => n + 1);
  }, [update]);

  const end = Math.min(count, Math.max(range.end, range.start + 1));
  const start = Math.min(range.start, Math.max(0, end - 1));
  const sums = offsets.current;
  return {
    scroller, list, start, end, before: sums[start] ?? 0, after: Math.max(0, (sums[count] ?? 0) - (sums[end] ?? 0)), atEnd, toEnd, toRow,
    isAtEnd: () => stick.current,
  };
}
