// One's own sign-in: what one has, and how it is changed. Draws nothing.
import { signal } from "@preact/signals";
import { get, post, session } from "./api.ts";

export interface OwnAccount {
  password: boolean;
  totp: boolean;
}

/** What the server asks for before it changes anything; `code` where one-time codes are on. */
export interface OwnProof {
  password: string;
  code?: string;
}

export const isOpen = signal(false);
/** Null until it is known. */
export const account = signal<OwnAccount | null>(null);

export async function readAccount(): Promise<void> {
  account.value = await get<OwnAccount>("/v1/me/account");
}

/** Other sessions end with each change; the answer brings this one's new form token. */
async function changed(address: string, body: unknown): Promise<void> {
  session.onRefreshed(await post(address, body));
  await readAccount();
}

export const changePassword = (proof: OwnProof, fresh: string): Promise<void> =>
  changed("/v1/me/password", { ...proof, new: fresh });
export const confirmCodes = (code: string): Promise<void> => changed("/v1/me/totp/confirm", { code });
export const codesOff = (proof: OwnProof): Promise<void> => changed("/v1/me/totp/off", proof);

/** What an authenticator reads. */
export const beginCodes = async (proof: OwnProof): Promise<string> =>
  (await post<{ uri: string }>("/v1/me/totp", proof)).uri;

/** The key in such an address, for people who type it. */
export const keyOf = (uri: string): string => new URLSearchParams(uri.slice(uri.indexOf("?"))).get("secret") ?? "";
