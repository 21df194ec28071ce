import { tidy } from './places.ts';

tidy();
