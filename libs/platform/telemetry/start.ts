import { setTimeout as sleep } from 'node:timers/promises';
import { DiagLogLevel, context as contexts, diag, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core';
import { TracerProvider } from '@opentelemetry/sdk-trace';
import { type Log, openLog } from './log.ts';
import { sampler } from './sampler.ts';

export interface Telemetry {
  log: Log;
  /** Sends what has not been sent yet; gives up after 3 s. */
  stop(): Promise<void>;
}

/** Makes real trace ids, which logs and peers need, and passes trace and run on, though nothing is sent anywhere. */
function startTracing(): void {
  contexts.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()];
  propagation.setGlobalPropagator(new CompositePropagator({ propagators }));
  trace.setGlobalTracerProvider(new TracerProvider({ sampler }));
}

/**
 * Starts OpenTelemetry and the log of a process; before anything else that uses them. Traces, metrics and log lines go
 * out by OTLP if OTEL_EXPORTER_OTLP_ENDPOINT is set (the other OTEL_* variables hold, e.g. OTEL_EXPORTER_OTLP_PROTOCOL,
 * default `http/protobuf`), and otherwise nowhere; trace context is propagated in both cases.
 */
export async function startTelemetry(service: string): Promise<Telemetry> {
  const sends = (process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] ?? '') !== '';
  const log = openLog(service, { sends });
  const warn = (message: string) => log.warn(`OpenTelemetry: ${message}`);
  const silent = () => undefined;
  diag.setLogger({ error: warn, warn: warn, info: silent, debug: silent, verbose: silent }, DiagLogLevel.WARN);
  if (!sends) {
    startTracing();
    return { log, stop: () => Promise.resolve() };
  }
  // The exporters take a quarter of a second and 20 MB, for nothing where nothing is sent.
  const { startSending } = await import('./sending.ts');
  const sendLast = startSending(service);
  return {
    log,
    stop: async () => {
      const failed = (error: unknown) =>
        log.warn({ err: error }, 'the last spans, metrics and lines could not be sent');
      await Promise.race([sendLast().catch(failed), sleep(3000, undefined, { ref: false })]);
    },
  };
}
