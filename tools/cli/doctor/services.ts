import { PairwiseError } from '@pairwise/errors';
import type { Services } from '../connection.ts';
import { type Check, fail, ok } from './check.ts';

const patienceMs = 10_000;

/** Remedies by reason, where the error itself names none. */
const remedies: Partial<Record<PairwiseError['reason'], string>> = {
  UNAVAILABLE: 'check that the process is running and ready, and that the network lets you reach it; see its log',
  UNAUTHENTICATED: 'pass a file with a valid token as --token-file',
  PERMISSION_DENIED: 'use a token with the role reader in this project, or pass another --project',
};

/**
 * Makes a cheap call to each service; NOT_FOUND counts as an answer.
 * Throws UNAVAILABLE if no service answers.
 */
export async function serviceChecks(services: Services, project: string): Promise<Check[]> {
  const page = { parent: project, pageSize: 1, pageToken: '' };
  const options = { deadline: new Date(Date.now() + patienceMs) };
  const calls: Record<string, Promise<unknown>> = {
    DatasetService: services.dataset.listDatasets(page, options),
    ModelService: services.model.listModels(page, options),
    ReferenceService: services.reference.getCoverage({ name: `${project}/coverages/none` }, options),
    TrainingService: services.training.getTraining({ name: `${project}/trainings/none` }, options),
    ExportService: services.export.getExport({ name: `${project}/exports/none` }, options),
    OrchestratorService: services.orchestrator.listRuns(page, options),
  };
  const errors = await Promise.all(Object.values(calls).map(failureOfCall));
  const [first] = errors;
  if (first !== undefined && errors.every((error) => error?.reason === 'UNAVAILABLE')) throw first;
  return Object.keys(calls).map((name, index) => {
    const error = errors[index];
    if (error === undefined) return ok(name, 'answers');
    return fail(name, error.message, remedies[error.reason] ?? 'see the log of the process');
  });
}

/** The error of a failed call; undefined if the service answered. */
async function failureOfCall(call: Promise<unknown>): Promise<PairwiseError | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    if (!(error instanceof PairwiseError)) throw error;
    return error.reason === 'NOT_FOUND' ? undefined : error;
  }
}
