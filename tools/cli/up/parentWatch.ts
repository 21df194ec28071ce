// Loaded into every process of the platform, so that it ends when the supervisor does, for whatever reason.

/** Time to stop gracefully before the process exits. */
const graceMs = 20_000;

process.once('disconnect', () => setTimeout(() => process.exit(1), graceMs).unref());
process.channel?.unref();
