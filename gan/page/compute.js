// Requests to the worker.

// Returns `ask(kind, request, onReport)`, which resolves to the result of a task.
export function startWorker(source) {
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const waiting = new Map();
  let last = 0;
  worker.onerror = ({ message }) => {
    for (const { reject } of waiting.values()) reject(new Error(message));
    waiting.clear();
  };
  worker.onmessage = ({ data: { number, result, error, isLast } }) => {
    const { resolve, reject, onReport } = waiting.get(number);
    if (!isLast) return onReport?.(result);
    waiting.delete(number);
    if (error) reject(new Error(error));
    else resolve(result);
  };
  return (kind, request, onReport) =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject, onReport });
      worker.postMessage({ kind, number: last, request });
    });
}

// Returns a function that keeps one request in flight: of those that come meanwhile, only the newest
// is sent. So a pointer that moves faster than the network computes leaves no queue.
export function latestOnly(send) {
  let isBusy = false;
  let next = null;
  return async function request(value) {
    if (isBusy) {
      next = { value };
      return;
    }
    isBusy = true;
    try {
      await send(value);
    } finally {
      isBusy = false;
      if (next) {
        const { value: newest } = next;
        next = null;
        request(newest); // also after an error: the newest may be of another model
      }
    }
  };
}
