// The orders that the tests try are the same each time, for whether a change passes is not to hang on chance. SEED=7 tries others.

export const seed = Number(process.env.SEED ?? 1);
if (process.env.SEED === undefined) console.log('random orders are those of SEED=1; SEED=7 npm run unit tries others');
