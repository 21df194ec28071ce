import { PairwiseError } from '@pairwise/errors';
import type { Services } from '../connection.ts';
import { type Check, fail, ok } from './check.ts';

const patienceMs = 10_000;

/** Remedies for what keeps a service from answering; for the rest its own words are enough. */
const remedies: Partial<Record<PairwiseError['reason'], string>> = {
  UNAVAILABLE: 'see whether the process runs, and its log; whether it is ready, and the way to it open',
  UNAUTHENTICATED: 'name the file of a valid token with --token-file',
  PERMISSION_DENIED: 'show a token with the role reader in this project, or name another with --project',
};

/**
 * Asks each service for something cheap at the one address. That there is nothing of the name is an answer as well.
 * Throws UNAVAILABLE where none answers.
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
  const errors = await Promise.all(Object.values(calls).map(errorOf));
  const [first] = errors;
  if (first !== undefined && errors.every((error) => error?.reason === 'UNAVAILABLE')) throw first;
  return Object.keys(calls).map((name, index) => {
    const error = errors[index];
    if (error === undefined) return ok(name, 'answers');
    return fail(name, error.message, remedies[error.reason] ?? 'see the log of the process');
  });
}

/** The error by which a call failed; undefined where the service answered. */
async function errorOf(call: Promise<unknown>): Promise<PairwiseError | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    if (!(error instanceof PairwiseError)) throw error;
    return error.reason === 'NOT_FOUND' ? undefined : error;
  }
}
