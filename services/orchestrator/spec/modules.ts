import type { Model } from '@pairwise/api';
import { adaptedModules, type ArchitectureName, type LinearModule } from '@pairwise/model';
import type { ResolvedTraining } from './resolved.ts';

/** The layers of the model that a training adapts. Throws INVALID_ARGUMENT if one that is named is not in the model. */
export function modulesOf({ tuning }: ResolvedTraining, { architecture }: Pick<Model, 'architecture'>): LinearModule[] {
  // Only models of supported architectures are imported.
  return adaptedModules(architecture as ArchitectureName, tuning.value, 'spec.training.lora.target_modules');
}
