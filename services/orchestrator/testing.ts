import {
  BaseQuantization,
  DatasetReport,
  DatasetServiceService,
  DatasetVersion,
  Encoding,
  ExportServiceService,
  InspectModelResponse,
  LogpsEstimate,
  Model,
  ModelServiceService,
  ModelState,
  QuantizationState,
  ReferenceServiceService,
  Training,
  TrainingEstimate,
  TrainingServiceService,
  TrainingState,
  WorkerMemory,
  type EstimateTrainingRequest,
} from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { service, statusOf, type CallContext, type Service } from '@pairwise/rpc';

const never = ({ signal }: CallContext) =>
  new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
const refusal = (reason: 'INTERNAL' | 'INVALID_ARGUMENT' | 'PERMISSION_DENIED' | 'UNAVAILABLE') => () =>
  Promise.reject(new PairwiseError(reason, 'the peer says no'));
const inState = (name: string, state: TrainingState) => Promise.resolve({ training: Training.create({ name, state }) });

/** How the training service answers when it starts and cancels a run's training. */
interface Behaviour {
  start?: (context: CallContext) => Promise<never>;
  cancel: (context: CallContext, calls: number) => Promise<unknown>;
}
/** By the run's id. */
const behaviours: Record<string, Behaviour> = {
  healthy: {
    cancel: (_context, calls) => inState('', calls < 3 ? TrainingState.CANCELLING : TrainingState.CANCELLED),
  },
  internal: { cancel: refusal('INTERNAL') },
  invalid: { cancel: refusal('INVALID_ARGUMENT') },
  denied: { cancel: refusal('PERMISSION_DENIED') },
  defect: { cancel: () => Promise.resolve({ training: Training.create({ stepCount: 3e300 }) }) },
  away: { cancel: refusal('UNAVAILABLE') },
  silent: { cancel: never },
  endless: { cancel: () => inState('', TrainingState.CANCELLING) },
  'silent-start': { start: never, cancel: () => inState('', TrainingState.CANCELLED) },
};
const idOf = (name: string) => name.split('/').at(-1)!;

/** Services that a run goes through, each misbehaving in its own way. */
export interface MisbehavingPeers {
  services: Service[];
  /** Resolves when the training of a run, by the run's id, is started. */
  started: Map<string, PromiseWithResolvers<undefined>>;
  /** The ids of the runs whose trainings were deleted. */
  deleted: string[];
}

/** The dataset, model, training and export services as a run sees them. The run's id chooses how its training behaves. */
export function misbehavingPeers(parent: string): MisbehavingPeers {
  const calls = new Map<string, number>();
  const started = new Map(Object.keys(behaviours).map((id) => [id, Promise.withResolvers<undefined>()]));
  const deleted: string[] = [];
  const training = {
    estimateTraining: ({ spec, pairCount }: EstimateTrainingRequest) => {
      const memory = WorkerMemory.create({ weightBytes: 1_000_000_000n });
      const estimate = TrainingEstimate.create({ resolvedSpec: spec, memory, stepCount: pairCount });
      return Promise.resolve({ estimate });
    },
    startTraining: async ({ trainingId }: { trainingId: string }, context: CallContext) => {
      started.get(trainingId)!.resolve(undefined);
      await behaviours[trainingId]!.start?.(context);
      return inState(`${parent}/trainings/${trainingId}`, TrainingState.RUNNING);
    },
    async *watchTraining(_request: object, context: CallContext) {
      yield await never(context);
    },
    cancelTraining: ({ name }: { name: string }, context: CallContext) => {
      calls.set(name, (calls.get(name) ?? 0) + 1);
      return behaviours[idOf(name)]!.cancel(context, calls.get(name)!);
    },
    deleteTraining: ({ name }: { name: string }) => {
      if (!['healthy', 'silent-start'].includes(idOf(name))) {
        return Promise.reject(new PairwiseError('WRONG_STATE', 'name: it has not ended', { field: 'name' }));
      }
      deleted.push(idOf(name));
      return Promise.resolve({});
    },
  };
  const reference = { estimateLogps: () => Promise.resolve({ estimate: LogpsEstimate.create({}) }) };
  const exporting = {
    deleteExport: () =>
      Promise.reject(new PairwiseError('NOT_FOUND', 'name: there is no such export', { field: 'name' })),
  };

  /** More pairs than any dataset has. */
  const dataset = {
    getDatasetVersion: () => Promise.resolve({ version: DatasetVersion.create({ pairCount: 2 ** 31 - 1 }) }),
    encodeVersion: () =>
      Promise.resolve({ encoding: Encoding.create({ pairCount: 1000, report: DatasetReport.create({}) }) }),
  };
  const quantizations = [
    {
      type: BaseQuantization.NF4,
      state: QuantizationState.FAILED,
      error: statusOf(new PairwiseError('UNSUPPORTED_CONFIG', 'up_proj is [65, 32]; NF4 needs even columns')),
    },
  ];
  /**
   * Models without a form in GGUF or NF4. Those called `importing...` are ready from the second time that anybody asks.
   */
  const model = {
    getModel: ({ name }: { name: string }) => {
      const asked = (calls.get(name) ?? 0) + 1;
      calls.set(name, asked);
      const importing = idOf(name).startsWith('importing') && asked === 1;
      return Promise.resolve({
        model: Model.fromPartial({
          name,
          quantizations,
          architecture: 'LlamaForCausalLM',
          state: importing ? ModelState.IMPORTING : ModelState.READY,
        }),
      });
    },
    ensureQuantization: () => Promise.resolve({}),
    inspectModel: () => {
      const ggufObstacles = [statusOf(new PairwiseError('UNSUPPORTED_FORMAT', 'the pre_tokenizer Digits'))];
      return Promise.resolve(
        InspectModelResponse.create({ supported: true, architecture: 'LlamaForCausalLM', ggufObstacles }),
      );
    },
  };
  const services = [
    service(ModelServiceService, model as never),
    service(TrainingServiceService, training as never),
    service(ExportServiceService, exporting as never),
    service(DatasetServiceService, dataset as never),
    service(ReferenceServiceService, reference as never),
  ];
  return { services, started, deleted };
}
