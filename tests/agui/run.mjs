// Runs one turn with AG-UI's own client and prints, as one JSON line, what the client made of it.
// Arguments: URL, and as JSON: threadId, runId, messages, forwardedProps, leaveAfter (leave after so many events).
import { HttpAgent } from "@ag-ui/client";

const [url, given] = process.argv.slice(2);
const { threadId, runId, messages, forwardedProps, leaveAfter } = JSON.parse(given);
const agent = new HttpAgent({ url, threadId, initialMessages: messages });
const seen = { types: [], outcome: null, result: null, error: null, custom: [], steps: [] };

const subscriber = {
  onEvent: ({ event }) => {
    seen.types.push(event.type);
    if (leaveAfter && seen.types.length >= leaveAfter) agent.abortRun();
  },
  onCustomEvent: ({ event }) => void seen.custom.push(event.name),
  onStepStartedEvent: ({ event }) => void seen.steps.push(event.stepName),
  onRunFinishedEvent: ({ outcome, result }) => void Object.assign(seen, { outcome, result }),
  onRunErrorEvent: ({ event }) => void (seen.error = event.message),
  onRunFailed: ({ error }) => void (seen.error = String(error.message ?? error)),
};

try {
  await agent.runAgent({ runId, forwardedProps }, subscriber);
} catch (error) {
  seen.error = String(error.message ?? error);
}
console.log(JSON.stringify({ ...seen, messages: agent.messages, state: agent.state }));
