import { session } from "../../../../iron";

export async function GET() {
  (await session()).destroy();
  return Response.json({ ok: true });
}
