import { TraceFlags, trace } from '@opentelemetry/api';
import { type Sampler, SamplingDecision } from '@opentelemetry/sdk-trace';
import { attributes } from './names.ts';
import { runOf } from './span.ts';

/**
 * Takes every trace whose parent was taken, since a run has few spans, and puts the run on each span: attributes that a
 * sampler returns are the span's.
 */
export const sampler: Sampler = {
  shouldSample: (parent) => {
    const flags = trace.getSpanContext(parent)?.traceFlags ?? TraceFlags.SAMPLED;
    const run = runOf(parent);
    return {
      decision: (flags & TraceFlags.SAMPLED) === 0 ? SamplingDecision.NOT_RECORD : SamplingDecision.RECORD_AND_SAMPLED,
      attributes: run === undefined ? {} : { [attributes.run]: run },
    };
  },
  toString: () => 'parent, with run',
};
