import { session } from "../../../../iron";

export async function POST(request) {
  const { name, roles } = await request.json();
  const mine = await session();
  mine.user = { id: 230, name, roles };
  await mine.save();
  return Response.json({ ok: true });
}
