/** Time that runs out, but stands still while it is held. */
export class Timer {
  readonly #onOver: () => void;
  #left: number;
  #holds = 0;
  #since = performance.now();
  #timeout: NodeJS.Timeout | undefined;

  /** Calls `onOver` after `ms` milliseconds, once. */
  constructor(ms: number, onOver: () => void) {
    this.#left = ms;
    this.#onOver = onOver;
    this.#run();
  }

  /** Stands still until what it answers, and whatever else was answered so, has been disposed of. */
  hold(): Disposable {
    if (this.#holds++ === 0) {
      clearTimeout(this.#timeout);
      this.#left -= performance.now() - this.#since;
    }
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held && --this.#holds === 0) this.#run();
        held = false;
      },
    };
  }

  stop(): void {
    clearTimeout(this.#timeout);
    this.#holds = Number.POSITIVE_INFINITY;
  }

  #run(): void {
    this.#since = performance.now();
    this.#timeout = setTimeout(this.#onOver, Math.max(0, this.#left));
  }
}
