// A virtual list of rows of any height: only what is near the view is in the document. The row at the top of the view stays where it is
// whatever is measured, prepended or changed above it; at the end the view sticks to the end.
//
// After each commit, and before the browser paints, the rows in the document are measured, the view is put where it belongs, and where that
// shows what is not rendered yet, more is rendered. That comes to rest: a row is measured once for a width, and the range of rows is
// replaced only when the view has come near its edge, by one that reaches much further. A range that followed the view exactly would not
// rest, because the position of the view depends on the range, by the pixel to which browsers round: two ranges could ask for each other.

import { useCallback, useLayoutEffect, useRef, useState, type RefObject } from 'react';
import { flushSync } from 'react-dom';

const estimate = 46;
const near = 300; // pixels above and below the view that have to be rendered
const beyond = 900; // pixels above and below it that are, when they have to be anew
const sticky = 48; // so near to the end counts as at the end

export interface Virtual {
  scroller: RefObject<HTMLDivElement | null>;
  list: RefObject<HTMLOListElement | null>;
  start: number;
  end: number;
  before: number;
  after: number;
  atEnd: boolean;
  toEnd(): void;
  toRow(index: number): void;
  isAtEnd(): boolean;
}

interface Options { keys: (index: number) => string; count: number; onScroll?: (top: number, bottom: number) => void }

/** Where rows are, from the heights that were measured and a guess for the rest. */
class Offsets {
  readonly #heights = new Map<string, number>();
  #sums = new Float64Array(1);

  layout(keys: (index: number) => string, count: number): void {
    const sums = new Float64Array(count + 1);
    for (let i = 0; i < count; i += 1) sums[i + 1] = sums[i]! + (this.#heights.get(keys(i)) ?? estimate);
    this.#sums = sums;
  }

  /** Takes the heights of rows that are in the document; whether one of them is news. */
  measure(rows: Iterable<HTMLElement>): boolean {
    let news = false;
    for (const row of rows) {
      const { key } = row.dataset;
      const { height } = row.getBoundingClientRect();
      // Far down, positions are exact to a fraction only: what differs by less is the same.
      if (key === undefined || height === 0 || Math.abs((this.#heights.get(key) ?? -1) - height) <= 0.25) continue;
      this.#heights.set(key, height);
      news = true;
    }
    return news;
  }

  forget(): void { this.#heights.clear(); }

  at(index: number): number { return this.#sums[Math.min(index, this.#sums.length - 1)]!; }

  get total(): number { return this.#sums.at(-1)!; }

  /** The row at a position; the first or the last one beyond the ends. */
  index(y: number): number {
    let low = 0;
    let high = Math.max(0, this.#sums.length - 2);
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sums[middle + 1]! <= y) low = middle + 1; else high = middle;
    }
    return low;
  }
}

export function useVirtual({ keys, count, onScroll }: Options): Virtual {
  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const offsets = useRef<Offsets>(undefined);
  offsets.current ??= new Offsets();
  const anchor = useRef<{ key: string; index: number; delta: number } | null>(null);
  const stick = useRef(true);
  const known = useRef({ top: 0, max: 0 }); // the position that was set or heard of last, and that of the end by then: any other one is the user's doing
  const [range, setRange] = useState({ start: 0, end: 30 });
  const [atEnd, setAtEnd] = useState(true);
  const [, again] = useState(0);
  const latest = useRef({ keys, count, onScroll });
  latest.current = { keys, count, onScroll };
  const laid = useRef<{ keys: unknown; count: number }>({ keys: undefined, count: -1 });
  if (laid.current.keys !== keys || laid.current.count !== count) {
    laid.current = { keys, count };
    offsets.current.layout(keys, count);
  }

  /** Renders other rows, if the view has come near the edge of those that are rendered. */
  const cover = useCallback(() => {
    const box = scroller.current;
    if (!box) return;
    const rows = offsets.current!;
    const top = box.scrollTop - (list.current?.offsetTop ?? 0);
    const reach = (by: number) => ({ start: rows.index(top - by), end: Math.min(latest.current.count, rows.index(top + box.clientHeight + by) + 1) });
    const least = reach(near);
    setRange((old) => (old.start <= least.start && old.end >= least.end ? old : reach(beyond)));
  }, []);

  const put = (top: number) => {
    const box = scroller.current!;
    if (Math.abs(box.scrollTop - top) > 0.5) box.scrollTop = top;
  };

  useLayoutEffect(() => {
    const box = scroller.current;
    const rows = list.current;
    if (!box || !rows) return;
    // A script may have moved the view (the focus that goes to another row, for one) before its scroll event. A view at the end was moved
    // there by the browser, because the list has become shorter.
    if (Math.abs(box.scrollTop - known.current.top) > 1 && box.scrollHeight - box.clientHeight - box.scrollTop > 1) {
      stick.current = known.current.max - box.scrollTop <= sticky;
      anchor.current = topRow(box, rows);
    }
    const news = offsets.current!.measure(rows.children as unknown as Iterable<HTMLElement>);
    if (news) offsets.current!.layout(keys, count);
    if (stick.current) {
      put(box.scrollHeight - box.clientHeight);
    } else if (anchor.current) {
      const found = find(anchor.current, keys, count);
      // Paddings in the document may still be those of before the measuring: the row itself tells where it is.
      const row = [...rows.children].find((r) => (r as HTMLElement).dataset.key === anchor.current!.key);
      if (row) put(row.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientTop + box.scrollTop - anchor.current.delta);
      else if (found) put(offsets.current!.at(anchor.current.index) + rows.offsetTop - anchor.current.delta);
    }
    known.current = { top: box.scrollTop, max: box.scrollHeight - box.clientHeight };
    if (news) again((n) => n + 1); else cover();
  });

  useLayoutEffect(() => {
    const box = scroller.current;
    if (!box) return undefined;
    let width = box.clientWidth;
    const resized = new ResizeObserver(() => {
      if (box.clientWidth !== width) {
        width = box.clientWidth;
        offsets.current!.forget();
      }
      again((n) => n + 1);
    });
    resized.observe(box);
    if (list.current) resized.observe(list.current);
    const scrolled = () => {
      const end = box.scrollHeight - box.scrollTop - box.clientHeight;
      const mine = Math.abs(known.current.top - box.scrollTop) < 1;
      known.current = { top: box.scrollTop, max: box.scrollHeight - box.clientHeight };
      if (!mine) {
        stick.current = end <= sticky;
        const top = box.scrollTop - (list.current?.offsetTop ?? 0);
        const index = offsets.current!.index(top);
        anchor.current = index < latest.current.count ? { key: latest.current.keys(index), index, delta: offsets.current!.at(index) - top } : null;
      }
      flushSync(() => { // before the browser paints: otherwise a fast hand sees nothing for a frame
        setAtEnd(end <= sticky);
        cover();
      });
      latest.current.onScroll?.(box.scrollTop, end);
    };
    box.addEventListener('scroll', scrolled, { passive: true });
    return () => {
      resized.disconnect();
      box.removeEventListener('scroll', scrolled);
    };
  }, [cover]);

  const toEnd = useCallback(() => {
    stick.current = true;
    setAtEnd(true);
    again((n) => n + 1);
  }, []);

  const toRow = useCallback((index: number) => {
    const box = scroller.current;
    if (!box || index < 0) return;
    stick.current = false;
    anchor.current = { key: latest.current.keys(index), index, delta: box.clientHeight / 3 };
    again((n) => n + 1);
  }, []);

  const end = Math.min(count, Math.max(range.end, range.start + 1));
  const start = Math.min(range.start, Math.max(0, end - 1));
  const rows = offsets.current;
  return {
    scroller, list, start, end, before: rows.at(start), after: Math.max(0, rows.total - rows.at(end)), atEnd, toEnd, toRow,
    isAtEnd: () => stick.current,
  };
}

/** The row at the top of the view, as it is in the document. */
function topRow(box: HTMLElement, rows: HTMLElement): { key: string; index: number; delta: number } | null {
  const { top } = box.getBoundingClientRect();
  for (const row of rows.children as unknown as Iterable<HTMLElement>) {
    const place = row.getBoundingClientRect();
    if (place.bottom > top && row.dataset.key !== undefined) return { key: row.dataset.key, index: Number(row.getAttribute('aria-posinset')) - 1, delta: place.top - top };
  }
  return null;
}

/** Finds the row again by its key, and keeps its index; false: it is not there any more. */
function find(anchor: { key: string; index: number }, keys: (index: number) => string, count: number): boolean {
  if (anchor.index < count && keys(anchor.index) === anchor.key) return true;
  for (let i = 0; i < count; i += 1) {
    if (keys(i) !== anchor.key) continue;
    anchor.index = i;
    return true;
  }
  return false;
}
