// Loaded into every process of the platform. When the supervisor is gone, for whatever reason, a process has this long to
// stop gracefully before it exits.
const graceMs = 20_000;

process.once('disconnect', () => setTimeout(() => process.exit(1), graceMs).unref());
process.channel?.unref();
