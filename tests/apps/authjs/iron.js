import { cookies } from "next/headers";
import { getIronSession } from "iron-session";

const options = { cookieName: "iron_session", password: process.env.IRON_PASSWORD, chunk: true, cookieOptions: { secure: false } };

export const session = async () => getIronSession(await cookies(), options);
