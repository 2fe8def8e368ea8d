/** Until when a lease surely holds, as its process knows it: by a clock that nobody can set, from before it asked. */
export class Held {
  #until: number;
  #renewed = Promise.withResolvers<void>();

  constructor(until: number) {
    this.#until = until;
  }

  get isSure(): boolean {
    return performance.now() < this.#until;
  }

  renew(until: number): void {
    this.#until = until;
    this.#renewed.resolve();
    this.#renewed = Promise.withResolvers();
  }

  /** Resolves when it is renewed the next time. */
  get renewed(): Promise<void> {
    return this.#renewed.promise;
  }
}
