import { session } from "../../../../iron";

export async function GET() {
  const { user } = await session();
  return user ? Response.json({ user }) : Response.json({}, { status: 401 });
}
