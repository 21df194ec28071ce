import { restore } from './places.ts';

restore();
