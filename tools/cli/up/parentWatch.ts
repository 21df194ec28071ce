// Loaded into every process of the platform: when the supervisor is gone, however it went, a process gets this long to
// end in good order, and is not left behind if it cannot.
const graceMs = 20_000;

process.once('disconnect', () => setTimeout(() => process.exit(1), graceMs).unref());
process.channel?.unref();
