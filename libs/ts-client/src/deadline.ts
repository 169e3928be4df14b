/** Runs a task, and rejects if it does not end in time. `signal` aborts then, so that the task can stop. */
export function withDeadline<T>(ms: number, task: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      const error = new Error(`no result within ${ms} ms`);
      controller.abort(error);
      reject(error);
    }, ms);
    task(controller.signal)
      .then(resolve, reject)
      .finally(() => {
        clearTimeout(timer);
      });
  });
}
