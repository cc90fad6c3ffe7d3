import { getServerSession } from "next-auth/next";
import { authOptions } from "../../lib/auth";

export default async function handler(req, res) {
  const session = await getServerSession(req, res, authOptions);
  if (!session) return res.status(401).json({ error: "You must be signed in." });
  res.json({ session });
}
