/** Something to wait on: it rings, or time passes. A ring that nobody waited for is not lost. */
export class Bell {
  #rung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Rings after `ms`, without keeping the process alive. */
  ringIn(ms: number): void {
    setTimeout(() => this.ring(), ms).unref();
  }

  /** Waits for a ring, no longer than `ms`. */
  async wait(ms: number): Promise<void> {
    if (!this.#rung) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#rung = false;
    this.#wake = undefined;
  }
}
