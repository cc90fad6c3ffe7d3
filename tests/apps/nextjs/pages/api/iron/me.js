import { getIronSession } from "iron-session";
import { ironOptions } from "../../../lib/iron";

export default async function handler(req, res) {
  const session = await getIronSession(req, res, ironOptions);
  if (!session.isLoggedIn) return res.status(401).json({ isLoggedIn: false });
  res.json({ user: session.user, isLoggedIn: true });
}
