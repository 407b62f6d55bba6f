// The stage, and OpenAI's clients before it.

import OpenAI, { AzureOpenAI } from 'openai';

import { key } from '../stage.mjs';

export { key, openStage } from '../stage.mjs';

// No retries: a test sees what the service itself did.
const options = (place, more) => ({ apiKey: more?.azureADTokenProvider ? undefined : (place.key ?? key), maxRetries: 0, timeout: 20_000, ...more });

export const azure = (place, more) =>
  new AzureOpenAI(options(place, { endpoint: place.url, apiVersion: '2024-10-21', ...more }));

export const v1 = (place, more) => new OpenAI(options(place, { baseURL: `${place.url}/openai/v1/`, ...more }));
