// A reporter of node --test that says nothing but what failed and why. run.js shows it as the last thing, where it is found in a long log.

export default async function* failures(events) {
  for await (const { type, data } of events) {
    if (type !== 'test:fail' || data.details?.error?.failureType === 'subtestsFailed') continue;
    const error = data.details?.error?.cause ?? data.details?.error;
    yield `✖ ${data.name} (${data.file?.split('/').at(-1) ?? ''}:${data.line ?? ''})\n${String(error?.stack ?? error).split('\n').slice(0, 30).join('\n')}\n`;
  }
}
