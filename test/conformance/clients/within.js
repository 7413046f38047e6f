// Waiting with an end.

/** Gives what the promise gives, or fails after ms. */
export function within(promise, what = 'the expected', ms = 30_000) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what} did not come within ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Waits for an event of an emitter; gives its arguments. */
export function heard(emitter, event, ms) {
  return within(new Promise((resolve) => { emitter.once(event, (...args) => resolve(args)); }), event, ms);
}

/** Collects the first n arguments lists of an event, each as given to take. */
export function collect(emitter, event, n, take = (...args) => args[0]) {
  return within(new Promise((resolve) => {
    const list = [];
    emitter.on(event, function listener(...args) {
      list.push(take(...args));
      if (list.length === n) { emitter.off(event, listener); resolve(list); }
    });
  }), `${n} times ${event}`);
}
