/** Does one thing after the other, in the order in which they were asked for. */
export function inTurn(): <Result>(work: () => Promise<Result>) => Promise<Result> {
  let before: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = before.then(work, work);
    before = done.catch(() => {}); // whoever asked for it is told
    return done;
  };
}
