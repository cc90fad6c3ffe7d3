import { getIronSession } from "iron-session";
import { ironOptions } from "../../../lib/iron";

export default async function handler(req, res) {
  const session = await getIronSession(req, res, ironOptions);
  session.destroy();
  res.json({ ok: true });
}
