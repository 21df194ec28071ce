import { setTimeout as sleep } from 'node:timers/promises';
import { DiagLogLevel, context as contexts, diag, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core';
import { TracerProvider } from '@opentelemetry/sdk-trace';
import { type Log, openLog } from './log.ts';
import { sampler } from './sampler.ts';

export interface Telemetry {
  log: Log;
  /** Sends what has not been sent yet, but takes at most 3 s. */
  stop(): Promise<void>;
}

/** Creates real trace ids, which logs and peers need, and propagates trace and run, although nothing is exported. */
function startTracing(): void {
  contexts.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()];
  propagation.setGlobalPropagator(new CompositePropagator({ propagators }));
  trace.setGlobalTracerProvider(new TracerProvider({ sampler }));
}

/**
 * Starts OpenTelemetry and the log of a process. Call it before anything that uses them. If OTEL_EXPORTER_OTLP_ENDPOINT
 * is set, traces, metrics and log lines are sent by OTLP. The other OTEL_* variables apply too, e.g.
 * OTEL_EXPORTER_OTLP_PROTOCOL, default `http/protobuf`. Otherwise nothing is sent. Trace context is propagated in both
 * cases.
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
  // Loading the exporters takes a quarter of a second and 20 MB, which is wasted if nothing is sent.
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
