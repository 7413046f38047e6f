import { defineConfig } from 'vitest/config';

// Property tests try the same cases each time, for whether a change passes is not to hang on chance.
const { SEED = '1' } = process.env;
console.log(`property tests: SEED=${SEED} (others: SEED=7 npm run unit)`);

export default defineConfig({ test: { testTimeout: 30_000, hookTimeout: 60_000, setupFiles: 'test/setup.ts', env: { SEED } } });
