import { TraceFlags, trace } from '@opentelemetry/api';
import { type Sampler, SamplingDecision } from '@opentelemetry/sdk-trace';
import { attributes } from './names.ts';
import { runOf } from './span.ts';

/**
 * Samples every trace whose parent was sampled, since a run has few spans. Adds the run to each span: the attributes
 * that a sampler returns become the span's.
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
