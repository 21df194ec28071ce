import { DiagLogLevel, diag } from '@opentelemetry/api';

/** Runs `work` as the root span of a trace that the services continue. The SDK is loaded only when needed. */
export async function traced<T>(words: string, work: () => Promise<T>): Promise<T> {
  const { spanNames, startTelemetry, withSpan } = await import('@pairwise/telemetry');
  const { stop } = await startTelemetry('cli');
  // Standard output belongs to the command, and users should not be bothered about a missing collector.
  diag.setLogger({ error: quiet, warn: quiet, info: quiet, debug: quiet, verbose: quiet }, quietly);
  try {
    return await withSpan(spanNames.command(words), {}, work);
  } finally {
    await stop();
  }
}

const quiet = () => undefined;
const quietly = { logLevel: DiagLogLevel.NONE, suppressOverrideMessage: true };
