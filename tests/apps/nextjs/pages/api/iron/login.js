import { getIronSession } from "iron-session";
import { ironOptions } from "../../../lib/iron";

export default async function handler(req, res) {
  if (req.method !== "POST") return res.status(405).end();
  const session = await getIronSession(req, res, ironOptions);
  session.user = { id: 230, name: req.body?.name ?? "Alice", roles: req.body?.roles ?? ["admin"] };
  session.isLoggedIn = true;
  await session.save();
  res.json({ ok: true });
}
