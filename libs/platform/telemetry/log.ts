import { SeverityNumber, context as contexts, logs, trace } from '@opentelemetry/api';
import { type Logger, destination, multistream, pino, stdTimeFunctions } from 'pino';
import pretty from 'pino-pretty';
import { attributes } from './names.ts';
import { runOf } from './span.ts';

/** pino's logger: `log.info({ fields }, 'message')`. Never log prompt or response text. */
export type Log = Logger;

/** The active trace and run, which are added to every line. */
function whereabouts(): Record<string, string> {
  const span = trace.getActiveSpan()?.spanContext();
  const run = runOf(contexts.active());
  return {
    ...(span === undefined ? {} : { trace_id: span.traceId, span_id: span.spanId }),
    ...(run === undefined ? {} : { [attributes.run]: run }),
  };
}

/** Chooses the output: readable lines on a terminal, JSON otherwise. */
function output() {
  const lines = destination({ fd: 1, sync: true });
  // If the reader of the lines has died, that must not end this process.
  lines.on('error', () => undefined);
  if (!process.stdout.isTTY) return lines;
  const ignore = 'pid,hostname,service,trace_id,span_id';
  return pretty({
    destination: lines,
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss',
    ignore,
    messageFormat: '{service}: {msg}',
  });
}

/** Passes lines to OpenTelemetry too, which adds the trace and span that are active at that moment. */
const records = {
  write: (line: string) => {
    const { level, time, msg, ...rest } = JSON.parse(line) as { level: string; time: string; msg?: string };
    const fields = Object.entries(rest).filter(([key]) => !['service', 'trace_id', 'span_id'].includes(key));
    logs.getLogger('pairwise').emit({
      timestamp: new Date(time),
      severityNumber: SeverityNumber[level.toUpperCase() as keyof typeof SeverityNumber],
      severityText: level,
      body: msg ?? '',
      attributes: Object.fromEntries(fields),
    });
  },
};

/** Opens the log of a process. Each line is one event, with the active trace and run. */
export function openLog(service: string, { sends }: { sends: boolean }): Log {
  return pino(
    {
      base: { service },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
      mixin: whereabouts,
    },
    sends ? multistream([{ stream: output() }, { stream: records }]) : output(),
  );
}
