/**
 * Tells the parent that started this process with a channel, if one did, that it is `ready`, and waits until it is to
 * stop: SIGTERM, SIGINT, or the end of that parent. From then on the process ends in good order; a second signal ends it
 * at once.
 */
export function untilStopped(): Promise<void> {
  return new Promise((tell) => {
    let asked = false;
    const stop = () => {
      if (asked) process.exit(130);
      asked = true;
      // A listener of the channel would keep the process from ending.
      process.off('disconnect', stop);
      tell();
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    if (process.send === undefined) return;
    if (!process.connected) {
      stop();
      return;
    }
    process.once('disconnect', stop);
    process.send('ready');
  });
}
