import { DiagLogLevel, diag } from '@opentelemetry/api';

/** Runs `work` as the root span of a trace, which the services carry on. Only commands that need it load the SDK. */
export async function traced<T>(words: string, work: () => Promise<T>): Promise<T> {
  const { spanNames, startTelemetry, withSpan } = await import('@pairwise/telemetry');
  const { stop } = await startTelemetry('cli');
  // Standard output is the command's; a collector that is away is no reason to trouble its user.
  diag.setLogger({ error: quiet, warn: quiet, info: quiet, debug: quiet, verbose: quiet }, quietly);
  try {
    return await withSpan(spanNames.command(words), {}, work);
  } finally {
    await stop();
  }
}

const quiet = () => undefined;
const quietly = { logLevel: DiagLogLevel.NONE, suppressOverrideMessage: true };
