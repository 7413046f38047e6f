/** Tells listeners of a topic that it changed, once for all changes of a turn. */
export class Topics {
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #changed = new Set<string>();
  #due = false;

  subscribe(topic: string, listener: () => void): () => void {
    const all = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, all);
    all.add(listener);
    return () => {
      all.delete(listener);
      if (all.size === 0 && this.#listeners.get(topic) === all) this.#listeners.delete(topic);
    };
  }

  changed(...topics: string[]): void {
    for (const topic of topics) this.#changed.add(topic);
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      const now = [...this.#changed];
      this.#changed.clear();
      for (const topic of now) for (const listener of [...(this.#listeners.get(topic) ?? [])]) listener();
    });
  }
}
