/**
 * Waits until the process should stop: on SIGTERM, on SIGINT, or when the parent that started it with an IPC channel
 * has ended. After that the process may finish its work; a second signal ends it at once. Also tells the parent that
 * the process is ready, so call this last.
 */
export function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    const stop = () => {
      if (asked) process.exit(130);
      asked = true;
      resolve();
      // The listener alone would keep the process running.
      process.off('disconnect', stop);
      process.channel?.unref();
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    if (process.connected) process.once('disconnect', stop);
    process.send?.('ready');
  });
}
