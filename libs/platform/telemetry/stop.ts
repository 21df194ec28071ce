/**
 * Waits until the process is to stop: SIGTERM, SIGINT, or the end of the parent that started it with a channel (`ipc`).
 * From then on the process ends in good order; a second signal ends it at once. Tells such a parent that the process is
 * ready, since it has nothing else left to do.
 */
export function untilStopped(): Promise<void> {
  return new Promise((tell) => {
    let asked = false;
    const stop = () => {
      if (asked) process.exit(130);
      asked = true;
      tell();
      // Listening alone would keep the process from ending.
      process.off('disconnect', stop);
      process.channel?.unref();
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    if (process.connected) process.once('disconnect', stop);
    process.send?.('ready');
  });
}
